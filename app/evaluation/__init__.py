"""`moodline eval`: how well an engine plays characters, by the benchmarks of the field."""
