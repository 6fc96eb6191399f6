"""Control: it admits components, decides what exists and where, and publishes it through etcd.

`plane` opens what a control process has; `leader` runs what only one of them may do; one noun a
file for the rest. Everything here may be repeated after a crash at any point. See DESIGN.md here.
"""
