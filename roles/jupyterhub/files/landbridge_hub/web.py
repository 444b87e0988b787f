"""What the hub tells browsers; the headers that all answers have are the proxy's work."""

# The pages have scripts of their own inline, and nothing from elsewhere.
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}


def configure(c, values):
    """Set headers and cookies."""
    policy = "; ".join(f"{name} {value}" for name, value in POLICY.items())
    c.JupyterHub.tornado_settings = {
        "headers": {"Content-Security-Policy": policy},
        "cookie_options": {"samesite": "Lax", "secure": values["tls"]},
    }
