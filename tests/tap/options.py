"""Options as the command line gives them, for what is made from them."""

import argparse

from dnsproxy.tap import common


def parsed(*arguments: str) -> argparse.Namespace:
    """Forms, output, filters and masks."""
    parser = common.Parser("test", "")
    common.add_forms(parser)
    common.add_output(parser)
    common.add_filters(parser)
    common.add_masks(parser)
    return parser.parse_args(arguments)
