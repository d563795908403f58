"""The server: an HTTP interface and a page over one model process, with a record of everything it did."""
