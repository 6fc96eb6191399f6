"""The command line: one file per noun, each a thin client of the HTTP APIs.

`program` lists the commands and loads a noun's file when it is asked for; `options`, `connection`,
`client` and `output` are what the nouns share. Commands print data on stdout and notes on stderr.
"""
