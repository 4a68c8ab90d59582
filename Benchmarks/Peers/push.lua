-- What wrk sends: 1 KiB, with a key. WRK_METHOD is another method than POST, for Webdis.
wrk.method = os.getenv("WRK_METHOD") or "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Authorization"] = "Bearer " .. os.getenv("WRK_KEY")
wrk.headers["Content-Type"] = "application/octet-stream"
