"""What a run ships in the forms of other people's tools: model formats, stores of vectors, a router's configuration."""
