"""Code that opens untrusted media. It runs in child processes only.

Product code never imports from here; `lint-imports` checks that. `pipeline.media.sandbox` starts a
module of this folder as a process. The entry points are `decode`, `mux`, `derive` and `inspect`.
"""
