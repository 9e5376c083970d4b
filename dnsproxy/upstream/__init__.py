"""How upstreams are asked: exchanges, transports, health."""
