"""The version of parsl_pcm, kept apart so that building reads it without importing anything."""

VERSION = "0.1.0"
