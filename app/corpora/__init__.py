"""Public data sets as they are downloaded, read into one form."""
