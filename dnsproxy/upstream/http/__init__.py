"""DNS over HTTPS upstreams, by HTTP/2."""
