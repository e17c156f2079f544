"""Files of people as documents: a reader for each kind, the fence around them, cleaning and cutting."""
