"""dnstap: events, their encoding, Frame Streams, and the outputs that carry them to collectors and files."""
