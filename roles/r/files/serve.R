# Managed by Landbridge (role r): serves an API of plumber.
# Arguments: its file or its directory, the address and the port.
arguments <- commandArgs(trailingOnly = TRUE)
app <- arguments[1]
api <- if (dir.exists(app)) plumber::plumb(dir = app) else plumber::plumb(app)
api$run(host = arguments[2], port = as.integer(arguments[3]), quiet = TRUE)
