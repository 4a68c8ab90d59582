-- What wrk sends: the same push over and over, with WRK_KEY. WRK_METHOD is another method than POST, for Webdis; WRK_BODY another size
-- than 1 KiB.
wrk.method = os.getenv("WRK_METHOD") or "POST"
wrk.body = string.rep("x", tonumber(os.getenv("WRK_BODY") or 1024))
wrk.headers["Authorization"] = "Bearer " .. os.getenv("WRK_KEY")
wrk.headers["Content-Type"] = "application/octet-stream"
