"""The proxy from outside, a sentence of its interface at a time, between scripted upstreams and collectors."""
