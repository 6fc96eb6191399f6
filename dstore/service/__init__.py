"""Use cases, one noun a file: what the surfaces ask for and storage carries out."""
