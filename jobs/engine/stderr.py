"""What programs write to standard error: levels, Singer's metrics, the line that names a failure. Pure."""
