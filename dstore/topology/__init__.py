"""Who is where: the keys that all processes of a cluster agree on, and views of them."""
