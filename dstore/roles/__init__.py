"""What a process can be. A role is a value; `registry` lists them and composes those chosen."""
