"""What recipients themselves reach in a browser: links that unsubscribe, and the preference centre."""
