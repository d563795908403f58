"""The command line: `app` parses and reports failures, every other module is one subcommand with late imports."""
