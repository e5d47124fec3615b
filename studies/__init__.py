"""What we ask, and the glue: objectives, study files and the mpn command line."""
