"""The simulator: whole clusters in one thread, in virtual time, from one seed.

The product runs as it is; only its ports are replaced:

    loop          an asyncio event loop that never waits; `run_in_executor` works inline
    clocks        `Clock`: each machine's own, fast or slow, wall clock set at will
    machines      a machine, and the processes that live on it one after another
    network       links: delay, drop, repeat, part (one way or both), heal
    peers         `Peer` and who answers: encoded, with the errors of a real connection
    coordination  `Coordinator`: the embedded one, on a machine of its own behind the network
    disk          a VFS and a directory that forget and tear what was not synced
    traps         whatever touches the real world raises
    world         one seed's everything; `World.run(main)`

To plug a process in, write its life as a coroutine; it is run anew at each start of its machine:

    async def program(process: Process) -> None:
        coordinator = world.coordination.client(process)              # a Coordinator
        peer = world.board.peer(process, "node-2", calls=Calls(...), identity=IDENTITY)  # a Peer
        disk = process.machine.disk
        vault = Vault(entropy=process.entropy, page_cache_bytes=1 << 20,
                      base_vfs=disk.name, fdatasync=disk.fdatasync)
        directory = disk.directory                                    # another one in each life
        ... clock=process.clock, entropy=process.entropy, on_fatal=process.fatal ...
        world.board.listen(process, Methods(...))                     # from here on it answers
        await serve_for_ever()

    machine = world.machine("node-1", program, has_disk=True)
    machine.start(); machine.kill(); machine.cut_power(); machine.pause(); machine.resume()

The name of a machine is its address. Whatever a process begins (tasks, timers, callbacks) is its
own, so a killed one just never runs again: no `finally`, no close, no last message. To do something
in a process from outside, `process.spawn(coroutine, name=...)`. Faults:

    world.network.part(["node-1"], ["node-2", "coordinator"], one_way=True).mend()
    world.network.weather.spike / .drop / .repeat    probabilities of each message
    world.board.repeatable = frozenset({"replica.append"})   methods that may arrive twice
    world.board.loses_reply = lambda source, target, method: ...     exactly that message
    world.coordination.loses_reply = lambda machine, method, args: ...   applied, but unknown
    await world.coordination.compact(); .cut_watches(); await .end_lease_of(key)
    machine.clock.set_rate(1.001); machine.clock.skip(3.0); machine.slowness = 100.0
    machine.disk.cut_after = 17; .fail_syncs = 1; .is_full = True; .rot(path)
    machine.disk.put_back(machine.disk.backup())    an old copy for its next life; {}: empty

A scenario (`scenario`) is a class with the methods of `scenario.Cluster`, given to a `Scenario`, in
`explorer.SCENARIOS`; clients, history, faults, healing and judgement come with it. `plain_cluster`
is one to begin with, `store.ItemStore` turns a client's calls into those of the product, `faults`
has the ordinary troubles, `checkers` the invariants, `mutants` what must be caught.

Product log events are counted in `world.trace.counts["log.<event>"]`, so that a scenario can demand
that something interesting has happened.
"""
