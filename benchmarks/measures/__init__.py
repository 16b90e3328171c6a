"""One module for each thing that is measured; each takes the contestants and returns tables and bars."""
