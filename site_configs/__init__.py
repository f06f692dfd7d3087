"""One configuration a site: copy the nearest one, put in your values, pass it to ``parsl.load``.

Every ``fresh_config()`` returns a new object, since Parsl starts each executor object once only.
"""
