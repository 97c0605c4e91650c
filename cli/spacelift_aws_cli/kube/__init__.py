"""The API server, with the rights of whoever calls. A client of our own on Python's `http.client`.

Importing the official client takes more than a second, longer than most commands take altogether; what is needed of it
here are a kubeconfig, six verbs and two kinds of stream.
"""
