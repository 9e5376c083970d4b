"""What black-box tests share: the proxy's process, hostile upstreams, dnstap collectors, clients and real programs."""
