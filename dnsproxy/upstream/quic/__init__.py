"""DNS over QUIC upstreams, and DNS over HTTPS by HTTP/3."""
