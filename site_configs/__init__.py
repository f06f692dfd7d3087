"""One file a site: how it is asked for GPUs that nobody uses now.

``fresh_config()`` returns a new configuration at each call, since Parsl starts an executor once
only. A file uses nothing but Parsl and ``parsl_pcm``, so that a copy of it works anywhere
(``parsl-pcm sites init NAME``). See docs/sites.md.
"""
