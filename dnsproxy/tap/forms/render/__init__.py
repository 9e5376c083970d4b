"""DNS messages as text, the way the libraries behind the existing tools write them: miekg/dns and BIND."""
