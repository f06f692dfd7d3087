class Metrics:
    def observe(self, record): pass
    def summary(self, path): return "summary "+path
