"""The proxy among real programs: each test is skipped, with the package's name, where its program is missing."""
