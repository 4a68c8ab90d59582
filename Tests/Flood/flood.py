# Floods one node with connections, and looks whether others are still served: see Scripts/flood, which runs it.
#
# Strangers come from 127.0.0.1, in processes of their own. Good clients push from 127.0.0.2, over connections that they keep and over new ones; a
# balancer asks /livez from 127.0.0.3. All of them speak raw sockets: a client library would wait, pool and retry, and hide what is looked for.

import argparse, json, multiprocessing, os, re, resource, selectors, shutil, signal, socket, ssl, struct, subprocess
import sys, tempfile, threading, time

KEY = "sk_flood_0"
STRANGER, CLIENT, BALANCER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
HEAD = b"POST /v1/events HTTP/1.1\r\nHost: sluice\r\nX-Filler: " + b"a" * 4000
# Minimum pushes and questions of each flood: fewer would prove nothing.
FEWEST_PUSHES, FEWEST_QUESTIONS = 50, 10
# Each on the push listener, and on the admin listener at the same time.
KINDS = ["idle", "dripping", "half_hello", "hello", "resetting", "closing", "half_closed", "answered", "endless_head"]


def say(text): print(text, flush=True)


def client_hello():
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try: handshake.do_handshake()
    except ssl.SSLWantReadError: pass
    return outgoing.read()


# A stranger: keeps so many connections open, of one kind, and opens others for those that the node closes.

class Stranger:
    def __init__(self, port, kind, wanted, per_second, opened, held):
        self.port, self.kind, self.wanted, self.per_second = port, kind, wanted, per_second
        self.opened, self.held = opened, held
        self.selector = selectors.DefaultSelector()
        self.sockets = {}
        self.hello = client_hello()

    def open(self):
        s = socket.socket()
        s.setblocking(False)
        # IP_BIND_ADDRESS_NO_PORT: otherwise ports of connections that are over are missing for a minute.
        s.setsockopt(socket.IPPROTO_IP, 24, 1)
        try:
            s.bind((STRANGER, 0))
            if s.connect_ex((STRANGER, self.port)) not in (0, 115): return s.close()
        except OSError: return s.close()
        self.opened.value += 1
        self.sockets[s] = [0, False]
        self.selector.register(s, selectors.EVENT_WRITE)

    def drop(self, s):
        if self.kind != "closing": s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.selector.unregister(s)
        del self.sockets[s]
        s.close()

    def text(self, sent):
        if self.kind == "half_hello": return self.hello[sent:sent + (60 if sent == 0 else 1)]
        if self.kind == "hello": return self.hello if sent == 0 else b""
        if self.kind == "dripping": return HEAD[sent:sent + 1]
        if self.kind == "endless_head": return HEAD * 10 if sent == 0 else b""
        if self.kind == "answered": return b"GET /nothing HTTP/1.1\r\nHost: sluice\r\n\r\n" if sent == 0 else b""
        return b""

    def connected(self, s):
        if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR): return self.drop(s)
        self.sockets[s][1] = True
        self.selector.modify(s, selectors.EVENT_READ)
        if self.kind in ("resetting", "closing"): return self.drop(s)
        try:
            if self.kind == "half_closed": s.shutdown(socket.SHUT_WR)
            self.sockets[s][0] = s.send(self.text(0)) if self.text(0) else 0
        except OSError: self.drop(s)

    def run(self):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Strangers have machines of their own; here they share one with the node.
        os.nice(10)
        budget, dripped, last = 0.0, time.monotonic(), time.monotonic()
        while True:
            now = time.monotonic()
            budget, last = min(budget + (now - last) * self.per_second, 200), now
            while len(self.sockets) < self.wanted and budget >= 1:
                budget -= 1
                self.open()
            for key, events in self.selector.select(0.01):
                s = key.fileobj
                if not self.sockets[s][1]: self.connected(s)
                else:
                    try: came = s.recv(65536)
                    except OSError: came = b""
                    # One that has ended its side waits to be closed as well as one that hasn't.
                    # Where TLS is spoken a hello was answered, at the node's cost; the next one begins.
                    if not came or self.kind == "hello": self.drop(s)
            if now - dripped >= 1:
                dripped = now
                for s, (sent, isOpen) in list(self.sockets.items()):
                    if not isOpen or not self.text(max(sent, 1)): continue
                    try: self.sockets[s][0] = sent + s.send(self.text(sent))
                    except BlockingIOError: pass
                    except OSError: self.drop(s)
            self.held.value = sum(1 for _, isOpen in self.sockets.values() if isOpen)


def strangers(port, kind, wanted, per_second):
    opened, held = multiprocessing.Value("q", 0, lock=False), multiprocessing.Value("q", 0, lock=False)
    process = multiprocessing.Process(
        target=lambda: Stranger(port, kind, wanted, per_second, opened, held).run(), daemon=True)
    process.start()
    return process, opened, held


# Good clients, each in a thread.

class Clients:
    def __init__(self, push, admin, tls):
        self.push, self.admin, self.tls = push, admin, tls
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.cut = 0.0
        self.sent, self.failures, self.asked, self.unanswered, self.slowest = 0, [], 0, [], 0.0
        jobs = [self.kept] * 2 + [self.fresh] * 2 + [self.livez]
        self.threads = [threading.Thread(target=job, daemon=True) for job in jobs]
        for thread in self.threads: thread.start()

    def connect(self, source, port):
        s = socket.create_connection((STRANGER, port), timeout=10, source_address=(source, 0))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls and port == self.push: s = self.tls.wrap_socket(s, server_hostname="localhost")
        return s

    @staticmethod
    def answer(s):
        data = b""
        while b"\r\n\r\n" not in data:
            part = s.recv(65536)
            if not part: raise OSError(f"the connection ended after {data!r}")
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: *(\d+)", head, re.I).group(1))
        while len(body) < length:
            part = s.recv(65536)
            if not part: raise OSError("the connection ended in an answer")
            body += part
        return int(head.split()[1]), body.decode(errors="replace")

    def exchange(self, s):
        """Pushes, and again where the connections to Redis were just cut: without a spool a node has to say so, and each client does this."""
        while True:
            s.sendall(
                b"POST /v1/events HTTP/1.1\r\nHost: sluice\r\nAuthorization: Bearer %s\r\nContent-Length: 2\r\n\r\n{}"
                % KEY.encode())
            status, body = self.answer(s)
            now = time.monotonic()
            if not ("queue_away" in body or "outcome_unknown" in body) or now > self.cut + 2: return status, body
            time.sleep(0.1)

    def tell(self, failure):
        with self.lock:
            self.sent += 1
            if failure: self.failures.append(failure)

    def kept(self):
        s = None
        while not self.ended.wait(0.05):
            begun = time.monotonic()
            try:
                if s is None: s = self.connect(CLIENT, self.push)
                status, body = self.exchange(s)
                self.tell(None if status == 202 else f"kept: {status} {body}")
            except OSError as error:
                if s: s.close()
                s = None
                self.tell(f"kept: {error!r} after {time.monotonic() - begun:.2f} s")

    def fresh(self):
        while not self.ended.wait(0.05):
            begun = time.monotonic()
            try:
                with self.connect(CLIENT, self.push) as s: status, body = self.exchange(s)
                self.tell(None if status == 202 else f"fresh: {status} {body}")
            except OSError as error: self.tell(f"fresh: {error!r} after {time.monotonic() - begun:.2f} s")

    def livez(self):
        while not self.ended.wait(0.1):
            begun = time.monotonic()
            problem = None
            try:
                with self.connect(BALANCER, self.admin) as s:
                    s.settimeout(5)
                    s.sendall(b"GET /livez HTTP/1.1\r\nHost: sluice\r\n\r\n")
                    status, _ = self.answer(s)
                    if status != 200: problem = f"{status}"
            except OSError as error: problem = f"{error!r} after {time.monotonic() - begun:.2f} s"
            with self.lock:
                self.asked += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
                if problem: self.unanswered.append(problem)

    def figures(self):
        with self.lock:
            figures = (self.sent, self.failures, self.asked, self.unanswered, self.slowest)
            self.sent, self.failures, self.asked, self.unanswered, self.slowest = 0, [], 0, [], 0.0
            return figures

    def end(self):
        self.ended.set()
        for thread in self.threads: thread.join(15)


class Failed(Exception): pass


class Node:
    """A Redis and a node in a folder."""

    def __init__(self, binaries, limit, options, tls):
        self.folder = tempfile.mkdtemp(prefix="sluice-flood-")
        self.processes, self.tls = [], None
        port = self.free_port()
        self.redis_port = port
        self.start("redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder,
                             "--maxmemory-policy", "noeviction"])
        self.until(lambda: self.redis("PING") == "PONG", "redis answers")
        subprocess.run(
            [f"{binaries}/key-publisher", "import", "-", "--seal", "--expect", "1", "--redis", f"redis://127.0.0.1:{port}"],
            input=f"key,account\n{KEY},acme\n", text=True, check=True, capture_output=True)
        if tls: options = options + self.make_tls()
        self.log = f"{self.folder}/node.log"
        self.node = self.start("node", [
            "prlimit", f"--nofile={limit}", f"{binaries}/ingest-node", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
            "--agent-check", "127.0.0.1:0", "--name", "flooded", "--threads", "2", "--redis", f"redis://127.0.0.1:{port}"] + options)
        self.push = self.listens("pushes")
        self.admin = self.listens("operators")
        self.until(lambda: b" 200 " in self.get("/readyz"), "the node is ready")

    def start(self, name, command):
        with open(f"{self.folder}/{name}.log", "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def make_tls(self):
        certificate, key = f"{self.folder}/cert.pem", f"{self.folder}/key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
            check=True, capture_output=True)
        self.tls = ssl.create_default_context(cafile=certificate)
        return ["--tls-certificate", certificate, "--tls-key", key]

    @staticmethod
    def free_port():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def redis(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.redis_port), *words], capture_output=True, text=True)
        return done.stdout.strip()

    def until(self, condition, what, seconds=30):
        end = time.monotonic() + seconds
        while True:
            try:
                if condition(): return
            except OSError: pass
            if hasattr(self, "node") and self.node.poll() is not None: raise Failed(f"the node ended with {self.node.returncode}")
            if time.monotonic() > end: raise Failed(f"not within {seconds} s: {what}")
            time.sleep(0.05)

    def listens(self, purpose):
        found = []
        def look():
            with open(self.log) as log: found[:] = re.findall(rf".*listening for {purpose}.*", log.read())
            return bool(found)
        self.until(look, f"it listens for {purpose}")
        return int(re.search(r"address=\S+:(\d+)", found[0]).group(1))

    def get(self, path):
        with socket.create_connection(("127.0.0.1", self.admin), timeout=5) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while part := s.recv(65536): data += part
            return data

    def status(self): return json.loads(self.get("/status").partition(b"\r\n\r\n")[2])

    def descriptors(self): return len(os.listdir(f"/proc/{self.node.pid}/fd"))

    def memory(self):
        with open(f"/proc/{self.node.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) // 1024

    def processor(self):
        with open(f"/proc/{self.node.pid}/stat") as stat: fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_alive(self): return self.node.poll() is None

    def end(self, keeps):
        for process in reversed(self.processes):
            if process.poll() is None: process.terminate()
            try: process.wait(20)
            except subprocess.TimeoutExpired: process.kill()
        if not keeps: shutil.rmtree(self.folder)


def round(binaries, limit, options, tls, seconds, count, problems):
    title = f"limit {limit}, {' '.join(options) or 'default options'}{', TLS' if tls else ''}"
    say(f"\n== {title}")
    node = Node(binaries, limit, options, tls)
    failed_before = len(problems)
    try:
        clients = Clients(node.push, node.admin, node.tls)
        time.sleep(min(seconds, 3))
        clients.figures()
        descriptors, memory, hard = node.descriptors(), node.memory(), int(limit.partition(":")[2])
        connections = node.status()["connections"]
        say(f"before: {descriptors} descriptors, {memory} MB; {connections['limit']} connections of a limit of {connections['descriptor_limit']} descriptors")
        say(f"{'FLOOD':13} {'OPENED':>7} {'HELD':>6} {'ADMIN':>6} {'PUSHES':>7} {'FAILED':>7} {'LIVEZ':>6} {'MISSED':>7} {'SLOWEST':>8} {'FDS':>6} {'MB':>5} {'CPU':>5}")
        sent_in_all = failed_in_all = 0
        for kind in KINDS:
            used, begun = node.processor(), time.monotonic()
            flood, opened, held = strangers(node.push, kind, count, 3000)
            admin, _, admin_held = strangers(node.admin, kind, 300, 300)
            most = most_held = most_admin = 0
            is_cut = False
            # Runs for at least this time, and until enough was seen: other load on this machine must not change the
            # result.
            while node.is_alive():
                passed = time.monotonic() - begun
                seen = clients.sent >= FEWEST_PUSHES and clients.asked >= FEWEST_QUESTIONS and opened.value >= count
                if passed >= seconds and seen or passed >= max(60, 3 * seconds): break
                time.sleep(0.05)
                if node.is_alive(): most = max(most, node.descriptors())
                most_held, most_admin = max(most_held, held.value), max(most_admin, admin_held.value)
                if not is_cut and time.monotonic() - begun > seconds / 2:
                    is_cut = True
                    clients.cut = time.monotonic()
                    node.redis("CLIENT", "KILL", "TYPE", "normal")
            for process in (flood, admin):
                process.kill()
                process.join()
            if not node.is_alive(): raise Failed(f"{title}: the node was ended by {kind} with {node.node.returncode}")
            passed = time.monotonic() - begun
            sent, failures, asked, unanswered, slowest = clients.figures()
            sent_in_all += sent
            failed_in_all += len(failures)
            say(f"{kind:13} {opened.value:7} {most_held:6} {most_admin:6} {sent:7} {len(failures):7} {asked:6} {len(unanswered):7} {slowest:6.2f} s {most:6} {node.memory():5} {100 * (node.processor() - used) / passed:4.0f}%")
            for text in dict.fromkeys(failures[:3] + unanswered[:3]): say(f"    {text}")
            if sent < FEWEST_PUSHES: problems.append(f"{title}, {kind}: {sent} good pushes in {passed:.0f} s are too few to prove anything")
            if asked < FEWEST_QUESTIONS: problems.append(f"{title}, {kind}: /livez was asked {asked} times in {passed:.0f} s, which is too few to prove anything")
            if len(unanswered) > max(1, asked / 100): problems.append(f"{title}, {kind}: /livez didn't answer {len(unanswered)} of {asked} times")
            if opened.value < count: problems.append(f"{title}, {kind}: a flood of {opened.value} connections is none")
            if most > hard - 4: problems.append(f"{title}, {kind}: {most} descriptors were open, of {hard}")
        if failed_in_all * 100 >= sent_in_all: problems.append(f"{title}: {failed_in_all} of {sent_in_all} good pushes failed")
        # The longest deadline of a connection that nobody holds open any more is TLS's goodbye and the linger of an answer.
        node.until(lambda: node.descriptors() <= descriptors + 4, f"descriptors come back to {descriptors}; now {node.descriptors()}")
        node.until(lambda: b" 200 " in node.get("/readyz"), "the node is ready again")
        clients.figures()
        time.sleep(1)
        sent, failures, *_ = clients.figures()
        if failures or sent < 5: problems.append(f"{title}: after the floods {len(failures)} of {sent} pushes failed: {failures[:2]}")
        clients.end()
        after = node.memory()
        say(f"after:  {node.descriptors()} descriptors, {after} MB")
        # Allocators keep some of what was used; a leak grows with each flood.
        if after > memory + 40 + hard / 50: problems.append(f"{title}: memory went from {memory} to {after} MB")
    except Failed as error: problems.append(f"{title}: {error}" if title not in f"{error}" else f"{error}")
    finally:
        keeps = len(problems) > failed_before
        node.end(keeps)
        if keeps: say(f"what was left: {node.folder}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--round", type=int)
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 4096: sys.exit("flood: needs a limit of 4096 open descriptors for itself")
    multiprocessing.set_start_method("fork")
    rounds = [
        ("128:128", [], False, 1400),
        ("256:256", ["--max-connections", "100"], True, 1400),
        ("1024:1024", ["--max-connections", "900"], False, 1400),
        ("128:1024", [], True, 2000),
    ]
    problems = []
    begun = time.monotonic()
    for number, (limit, options, tls, count) in enumerate(rounds, 1):
        if arguments.round in (None, number): round(arguments.bin, limit, options, tls, arguments.seconds, count, problems)
    say(f"\n{time.monotonic() - begun:.0f} s")
    for problem in problems: print(f"FAILED: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
