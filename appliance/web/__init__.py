"""The web role: HTTP and WebSocket on one side, the pool, the permalinks and kernels' sockets on the other."""
