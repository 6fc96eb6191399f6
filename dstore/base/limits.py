"""Every bound of dStore: its name, its unit, and where its number comes from.

A name ends in its unit and its sense (`_BYTES_MAX`). A number that an operator may set is a default
of `dstore/setting_rows.py` taken from here; the rest are the same everywhere, since clients and
stored files depend on them.
"""

from typing import Final

KIB: Final = 1_024
MIB: Final = 1_024 * KIB

# ------------------------------------------------------------------------------------- the data
# DynamoDB's own bounds, so that both doors open on the same tables.
# Source: DynamoDB developer guide, "Quotas" and "Constraints".

ITEM_BYTES_MAX: Final = 400 * KIB  # 409,600: names and values together, model.values.item_bytes
PARTITION_KEY_BYTES_MAX: Final = 2_048
SORT_KEY_BYTES_MAX: Final = 1_024
RID_ID_BYTES_MAX: Final = 30_748  # a table's: 4 + 2 * 3,072 + 2 * 2 = 6,152; `model.index_rows`
KEY_BYTES_MIN: Final = 1  # a key is never empty
ATTRIBUTE_NAME_BYTES_MAX: Final = 65_535  # 64 KiB - 1
NESTING_DEPTH_MAX: Final = 32  # lists and maps in each other; the outermost object is level 1

NUMBER_DIGITS_MAX: Final = 38  # significant digits
# Magnitude 1E-130 to 9.99...9E+125, as the exponent of the leading digit.
NUMBER_EXPONENT_MIN: Final = -130
NUMBER_EXPONENT_MAX: Final = 125
# The longest spelling worth reading: sign + leading digit + 125 zeros + point + 130 + 38 digits of
# a fraction = 296 characters; refused beyond it before any arithmetic is done.
NUMBER_TEXT_CHARS_MAX: Final = 300

INTEGER_ID_DIGITS_MAX: Final = 38  # an Integer ID is a number without a fraction

# ------------------------------------------------------------------------------------ the names

# DynamoDB's bounds of a table's definition. Source: developer guide, "Quotas".
LOCAL_INDEXES_MAX: Final = 5  # of a table
GLOBAL_INDEXES_MAX: Final = 20  # of a table
INCLUDED_ATTRIBUTES_MAX: Final = 20  # that one index projects by name
PROJECTED_ATTRIBUTES_MAX: Final = 100  # the same, over all indexes of a table
TAGS_MAX: Final = 50  # of a table
TAG_KEY_CHARS_MAX: Final = 128
TAG_VALUE_CHARS_MAX: Final = 256

TENANT_NAME_CHARS_MAX: Final = 64
TABLE_NAME_CHARS_MIN: Final = 3  # DynamoDB's
TABLE_NAME_CHARS_MAX: Final = 255  # DynamoDB's
LOCATION_CHARS_MAX: Final = 16
ZONE_CHARS_MAX: Final = 64
ACCESS_KEY_ID_CHARS_MIN: Final = 16  # AWS's bounds of an access key id
ACCESS_KEY_ID_CHARS_MAX: Final = 128
ACCESS_KEY_SECRET_CHARS_MIN: Final = 8
ACCESS_KEY_SECRET_CHARS_MAX: Final = 128
IDEMPOTENCY_KEY_CHARS_MAX: Final = 128  # room for a UUID with a prefix
INVOCATION_ID_CHARS_MAX: Final = 64  # SDKs send a UUID
REQUEST_ID_CHARS_MAX: Final = 64  # a client's own id, echoed in answers and logs

# ------------------------------------------------------------------------------------- the wire

V1_BODY_BYTES_MAX: Final = 1 * MIB  # 400 KiB of item, with room for JSON escapes
INLINE_JSON_BYTES_MAX: Final = 64 * KIB  # larger bodies are parsed off the event loop (~1 ms each)
HEADER_BYTES_MAX: Final = 16 * KIB  # request line and headers together; 8 KiB a line
HEADER_LINE_BYTES_MAX: Final = 8 * KIB - 2  # aiohttp's own default, 8,190
HEADER_TIMEOUT_S: Final = 5.0  # aiohttp has none of its own (RELIABILITY.md 4.5)
BODY_TIMEOUT_S: Final = 10.0  # grace; beyond it a body must arrive at BODY_BYTES_PER_S_MIN
BODY_BYTES_PER_S_MIN: Final = 64 * KIB
# A body that arrives in 1-byte chunks costs 10 us a chunk, 200,000 of them 2 s; a sane client sends
# at least 256 bytes a chunk: 1 MiB / 256 = 4,096.
BODY_CHUNKS_MAX: Final = 4_096
AWS_BODY_BYTES_MAX: Final = 16 * MIB  # DynamoDB's, of a BatchWriteItem
AWS_BODY_CHUNKS_MAX: Final = 65_536  # as above: 16 MiB / 256
AWS_BODY_STREAMS_MAX: Final = 1_024  # gzip streams in a row in one body; clients send one
# Of a body that is refused, so that its sender gets to the answer: twice what anybody sends in
# earnest. The rest is cut off with the connection.
BODY_DISCARDED_BYTES_MAX: Final = 64 * MIB
REPLY_TURN_BYTES: Final = 256 * KIB  # encoded or summed at a time, ~0.3 ms; then others go on
KEEP_ALIVE_TIMEOUT_S: Final = 75.0  # longer than the usual 60 s of a load balancer
CONNECTIONS_MAX: Final = 4_096  # ~64 KiB each: 256 MiB
REQUESTS_IN_FLIGHT_MAX: Final = 1_024  # each may hold a V1_BODY_BYTES_MAX body: 1 GiB at the worst
BODY_BYTES_IN_FLIGHT_MAX: Final = 256 * MIB  # the sum over requests; beyond it 503
# A quarter of it is left to bodies of up to INLINE_JSON_BYTES_MAX, however many larger ones come:
# REQUESTS_IN_FLIGHT_MAX of them have 64 MiB.
SMALL_BODIES_SHARE: Final = 4
# Answers that their clients do not fetch, the sum over connections; beyond it those that wait the
# longest are given up.
ANSWER_BYTES_WAITING_MAX: Final = 256 * MIB
ANSWER_TIMEOUT_S: Final = 30.0  # for the next byte of an answer to be fetched

TABLE_ARN_CHARS_MAX: Final = 1_024  # DynamoDB's, wherever it takes a table's name
RESOURCE_ARN_CHARS_MAX: Final = 1_283  # DynamoDB's, of what can be tagged
KEY_ATTRIBUTE_NAME_CHARS_MAX: Final = 255  # DynamoDB's, also of what an index projects by name
LIST_TABLES_MAX: Final = 100  # names on a page, DynamoDB's
COMPLAINTS_MAX: Final = 10  # broken constraints in one of DynamoDB's validation errors
SHOWN_VALUE_CHARS_MAX: Final = 4 * KIB  # of a client's value in one of them; longer ones are cut
# 32 levels of attributes are 2 levels of JSON each, in at most 8 levels of a batch or transaction;
# the rest is room for what DynamoDB itself calls too deep. Far below Python's bound of recursion.
REQUEST_DEPTH_MAX: Final = 400

BATCH_READ_KEYS_MAX: Final = 100  # DynamoDB's, of a BatchGetItem
BATCH_READ_BYTES_MAX: Final = 16 * MIB  # DynamoDB's, of the items that it returns
BATCH_WRITES_MAX: Final = 25  # DynamoDB's, of a BatchWriteItem

LIST_LIMIT_DEFAULT: Final = 100  # entries on a page when the client does not say
LIST_LIMIT_MAX: Final = 1_000
LIST_BYTES_MAX: Final = 1 * MIB  # a page ends here whatever its limit, as a DynamoDB Query does
CURSOR_CHARS_MAX: Final = 8 * KIB  # `after`: the longest RID_ID in base64url: ~6.2 KiB

PAGE_EVALUATED_BYTES_MAX: Final = 1 * MIB  # of a Query or Scan, before its filter; DynamoDB's
# Of a page's JSON, where numbers are spelled out: 1E125 counts 3 bytes and takes 137. A page ends
# behind the item that gets there, which alone may have 20 MiB: less than a peer's payload.
PAGE_JSON_BYTES_MAX: Final = 8 * MIB
MUTATION_BYTES_MAX: Final = 24 * MIB  # of one write between components; 400 KiB of 1E125: 18 MiB
PAGE_ASK_BYTES_MAX: Final = 24 * MIB  # of what is asked of a page; its filter's values
READ_ANSWER_BYTES_MAX: Final = 24 * MIB  # of one entry between components; the same
WRITE_ANSWER_BYTES_MAX: Final = 24 * MIB  # of its answer; an item spelled out, as above
PAGE_BYTES_MAX: Final = 31 * MIB  # of a page between components; the two bounds above, and room
# On one node, for what tries several ranges there; in a cluster control decides.
NEW_TABLE_RANGES_MAX: Final = 64
MOVE_WAIT_S: Final = 2.0  # for a view that is behind what a node knows, before the node is asked
# Of one call to a node, its repetitions included: SDKs give up an attempt after 60 s, as most load
# balancers do, or after 30 s. A failover takes up to 8 s (LEASE_TTL_S and 3 s), and LEASE_TTL_S
# more if etcd has a new leader as well; a node that says nothing is noticed after 5 s.
PROXY_CALL_TIMEOUT_S: Final = 15.0
PROXY_RETRY_S_MIN: Final = 0.05  # before the first repetition, doubled up to ..._MAX
PROXY_RETRY_S_MAX: Final = 0.8
# Calls that wait for a range or node to come back: half of REQUESTS_IN_FLIGHT_MAX, so that clients
# of the others find room. Beyond it they hear 503 and when to retry.
PROXY_WAITING_MAX: Final = 512
PROXY_RETRY_AFTER_MS: Final = 1_000
# Calls at one node, if the eldest of them has waited for NODE_STUCK_S; the same half.
NODE_CALLS_STUCK_MAX: Final = 512
NODE_STUCK_S: Final = 1.0
# When an eventual read is asked of another replica too: after the time within which 19 of 20
# answers of a node come, between these. A node in health answers in 1 ms, with a page in 20 ms.
HEDGE_S_MIN: Final = 0.02
HEDGE_S_MAX: Final = 0.25
HEDGE_PAGE_S_MIN: Final = 0.1
HEDGE_PAGE_S_MAX: Final = 1.0
HEDGES_SHARE: Final = 0.1  # of eventual reads that may be asked twice
HEDGES_SAVED_MAX: Final = 256  # that may be asked twice at once, of those that were not before
SLOW_NODE_MISSES: Final = 3  # late answers in a row that make a node slow: then it is asked last
SLOW_NODE_S: Final = 1.0  # until one read is asked of it first again
NODES_PACED_MAX: Final = 4_096  # whose pace is known; ~200 B each
# Of a change by control, its repetitions included; control itself takes up to 19 s to answer.
PROXY_CHANGE_TIMEOUT_S: Final = 25.0
PROXY_VIEW_TIMEOUT_S: Final = 5.0  # until the own view shows what control has changed
PROXY_TABLE_TIMEOUT_S: Final = 5.0  # until all nodes have their part of a table that was made
WORKER_STEADY_S: Final = 10  # a worker that fails sooner could not start; one later is restarted
WORKER_PAUSE_S: Final = 0.5  # before one that died is started again
AUDIT_FLUSH_S: Final = 5.0  # between two looks at what the operator has written through a proxy
SETTINGS_ROUNDS_MAX: Final = 8  # of a change of settings that others change at the same time
# Reads of a batch that are under way at once where they are of several ranges: 6.4 MB at most.
BATCH_READS_AT_ONCE: Final = 16
SCAN_SEGMENTS_MAX: Final = 1_000_000  # DynamoDB's
# What the event loop walks at most before a thread goes on: about a millisecond with the filter.
LOOP_ROWS_MAX: Final = 400  # 36 items of 10 attributes
LOOP_BYTES_MAX: Final = 64 * KIB

# ---------------------------------------------------------------------------------- the writing

# A batch that the event loop commits by itself: 60 to 100 us a write of 1 KB. Half as many took a
# tenth more CPU a write.
LOOP_BATCH_MAX: Final = 64
LOOP_BATCH_BYTES_MAX: Final = 128 * KIB
LOOP_ENTRY_BYTES_MAX: Final = 16 * KIB  # larger ones, as stored, are evaluated in a thread
LOOP_BATCH_MS_MAX: Final = 5  # then it commits what it has; what was stored before may be large
WRITE_BATCH_MAX: Final = 64  # writes in one transaction; beyond it the fsync's share is < 2 %
# Half a second of a core at 4,500 writes/s, in round numbers; beyond it 503 with Retry-After.
WRITE_QUEUE_DEPTH_MAX: Final = 2_048
WRITE_QUEUE_BYTES_MAX: Final = 64 * MIB  # the same queue in bytes: 160 items of 400 KiB
REQUEST_RETENTION_S: Final = 900  # an Idempotency-Key is remembered for 15 min (SigV4's skew)
# An SDK's own name of a request is remembered for 15 min, within these bounds (docs/adr/0015): of a
# range, in its file; ~40 B each, at 2,000 writes/s to one range 131 s.
NAMES_KEPT: Final = 262_144
NAMES_BYTES_KEPT: Final = 32 * MIB  # with the attributes that they were answered with
NAMES_HELD_MAX: Final = 524_288  # of a process, in memory; ~100 B each, at 2,000 writes/s 262 s
NAME_ANSWER_BYTES_MAX: Final = 1 * MIB  # of such attributes; beyond it a repetition hears "unknown"
NAMES_IN_ROW_MAX: Final = 1_024
NAMES_ROW_BYTES: Final = 1 * MIB  # of answers, beyond which a row ends: it has to fit a message
NAMES_ROWS_TRIMMED: Final = 64  # at a time
RETRY_AFTER_MS: Final = 100  # what a full queue tells the client: ~450 writes later
DRAIN_TIMEOUT_S: Final = 30.0  # after SIGTERM; systemd's default kill comes after 90 s

# ------------------------------------------------------------------------------------- the log

# Nobody reads the log of a stand-alone node yet; what is kept serves diagnosis: ~1 s of full load.
LOG_RECORDS_KEPT: Final = 4_096
LOG_RECORDS_TRIMMED: Final = 64  # at a time, so that trimming is a small part of any one batch
LOG_RECORDS_TRIMMED_MAX: Final = 256  # where more were kept for a reader: ~1 ms of a core
REQUESTS_TRIMMED: Final = 4  # past their time, whenever one is remembered: more go than come

# --------------------------------------------------------------------------------- replication

REPLICA_LEASE_MS: Final = 2_000  # what a replica promises its primary with each answer (L)
# Of that, for clocks that run at different speeds and a loop that was late: a tenth.
REPLICA_LEASE_MARGIN_MS: Final = 200
REPLICA_HEARTBEAT_MS: Final = 500  # to a replica that has nothing new to hear: four in a lease
# Without a read or a write for so long a range lets its lease end and sends nothing more: a node
# may have 10,000 of them. The next read asks the replicas first.
REPLICA_IDLE_MS: Final = 5_000
REPLICA_COMMIT_TOLD_MS: Final = 5  # after a commit, if no next batch has carried it by then
# Without an answer for so long a replica leaves the in-sync set; less than a lease, so that strong
# reads do not wait for it.
REPLICA_SILENT_MS: Final = 1_500
# Without an answer of so many that no write is acknowledged a primary gives the range to another
# that lives; whoever can't open a range does so later, so that two that are cut off don't race.
REPLICA_CUT_OFF_MS: Final = 4_000
REPLICA_UNOPENED_MS: Final = 20_000
# Between two tries to open a range whose disk has no room, and that nobody else can take.
REPLICA_FULL_MS_MAX: Final = 4_000
REPLICA_CALL_TIMEOUT_S: Final = 1.0  # of one message; it is sent again, since all may be repeated
REPLICA_BACKOFF_MS_MIN: Final = 20  # before a replica that failed is asked again, doubled up to
REPLICA_BACKOFF_MS_MAX: Final = 500
REPLICA_BACKOFF_IDLE_MS_MAX: Final = 10_000  # of a range that nobody uses
REPLICAS_ROUSED: Final = 64  # looked at in one turn of the loop when a node is back
REPLICAS_OPENED_AT_ONCE: Final = 8  # ranges, as their primary; their files are open meanwhile
REPLICA_TURN_S: Final = 1.0  # after which one that still waits for others holds nobody up
REPLICA_SURE_S: Final = 0.2  # for an idle primary to find out that it is one, if control asks
REPLICA_HANDED_OVER_S: Final = 2.0  # for the batch under way, before a hand-over is given up
REPLICA_TAKEN_OVER_S: Final = 2.0  # for the next primary to open the range before it answers
REPLICA_BATCH_BYTES: Final = 1 * MIB  # of records in one message to a replica that catches up
REPLICA_BATCH_RECORDS_MAX: Final = 1_024
REPLICA_EPOCHS_TOLD: Final = 64  # the newest of a log's epochs, by which two logs find their fork
REPLICA_EPOCHS_KEPT: Final = 256  # in a file
REPLICA_COPY_BYTES: Final = 2 * MIB  # of rows in one message of a copy, which ends in a sync
REPLICA_COPY_PART_ROWS: Final = 256  # written by one statement, without the interpreter
REPLICA_COPY_BYTES_PER_S: Final = 32 * MIB  # of all copies a node sends, unless a setting differs
REPLICA_COPY_TIMEOUT_S: Final = 10.0  # for one of them to be taken
REPLICA_COPY_GIVEN_UP_S: Final = 20.0  # that one is sent again, before all of the copy is
REPLICA_COPY_ROWS: Final = 2_048  # requests in one message of a copy
REPLICA_WIPED_ROWS: Final = 8_192  # deleted at a time where a copy is to come: ~50 ms of a core
# A learner within so many records is fed as fast as the others, and joins when it has all.
REPLICA_LAG_JOINING_MAX: Final = 256
REPLICA_TENDED_MS: Final = 100  # how often a primary looks whether a replica is silent, or ready
# A replica further behind is given a copy of the rows; the log is not kept for it.
REPLICA_LAG_RECORDS_MAX: Final = 131_072
REPLICA_COPY_LAG_RECORDS_MAX: Final = 1_048_576  # while it gets one, and reads on behind it: ~1 GB
REPLICA_MADE_S: Final = 10.0  # a new range's replicas are waited for so long before one is left out
REPLICAS_ASKED_MAX: Final = 40  # in one question of control's to a node: what one swap packs
REPLICAS_TOLD_S: Final = 0.4  # for a node to look at them; of one that takes longer it says nothing
SWAPS_PACKED_MAX: Final = 40  # ranges' values changed in one transaction of the coordinator
# After a node's lease has timed out, before its ranges are given away: one that is granted anew at
# once harms nothing. With FAILOVER_ASK_S and an opening (0.1 s) well below 3 s.
FAILOVER_GRACE_S: Final = 0.3
FAILOVER_ASK_S: Final = 0.5  # for replicas to say where they stand; the dead one uses all of it up
FAILOVER_SILENT_S: Final = 5.0  # that a dead node which did not answer is not asked again
FAILOVERS_AT_ONCE: Final = 8  # of REPLICAS_ASKED_MAX ranges each
FAILOVER_RETRY_S_MIN: Final = 0.2  # of a range that nobody could take over, doubled up to
FAILOVER_RETRY_S_MAX: Final = 5.0
# The same of one whose primary serves although its file is damaged: its node gives it away itself.
FAILOVER_SERVING_S_MAX: Final = 60.0
# What nodes remember of ranges' values, asked for when the topology is recovered. Each answer wants
# the range's file open: some milliseconds.
RECOLLECTIONS_ASKED_MAX: Final = 100  # in one question
RECOLLECTION_TIMEOUT_S: Final = 15.0  # of one question
RECOLLECTION_RANGE_S: Final = 5.0  # for one range, for which the others do not wait
RECOLLECTION_RETRY_S: Final = 2.0  # before nodes are asked again that did not answer
NOTES_AT_ONCE: Final = 1_000  # of ranges' values, in one transaction of the node's database

# ------------------------------------------------------------------------------------ the trust

DAY_S: Final = 24 * 3_600
# Renewed at 2/3 of that, so control may be away for two days and a third.
CERTIFICATE_LIFE_S: Final = 7 * DAY_S
AUTHORITY_LIFE_S: Final = 3_650 * DAY_S  # ten years; then the next is trusted beside it
# Between two machines of a cluster. SigV4 forgives 900 s, leases are not counted by wall clocks.
CLOCK_SKEW_S_MAX: Final = 300
CERTIFICATE_BYTES_MAX: Final = 16 * KIB  # of a certificate, a request or a key; ours have ~1 KiB
AUTHORITIES_MAX: Final = 4  # trusted at a time: the present one, the next, and room for a mistake
JOIN_TOKEN_LIFE_S: Final = 900  # as cluster-api has; an operator may ask for up to ..._MAX
JOIN_TOKEN_LIFE_S_MAX: Final = 3_600
JOIN_TOKENS_LISTED_S: Final = 7 * DAY_S  # after their end, to see who came with which
JOIN_TOKEN_CHARS_MAX: Final = 2 * KIB
JOIN_ADDRESSES_MAX: Final = 8  # of controls in one token
ADDRESS_CHARS_MAX: Final = 128
# Of access keys, handed out by control. Back: a signature in a query lives 7 days at the most.
# Ahead: control may be away for three days.
SIGNING_DAYS_BEFORE: Final = 7
SIGNING_DAYS_AHEAD: Final = 3
SIGNING_KEYS_KEPT_MAX: Final = 4_096  # one per access key, day, region and service in use
KEY_COMMAND_TIMEOUT_S: Final = 30.0  # the command that prints control's own key: a KMS, a TPM
KEY_COMMAND_OUTPUT_BYTES_MAX: Final = 4 * KIB
ENROLMENTS_MAX: Final = 16  # control planes of one node

# ------------------------------------------------------------------------------------- the disk

PAGE_BYTES: Final = 4_096  # SQLite's page, a disk's block
PAGE_CACHE_BYTES: Final = 128 * MIB  # of all files together; a hot one wants tens of MiB
ENTRY_CACHE_BYTES: Final = 256 * MIB  # of decoded entries, all files together; ~5 KB one of 1 KB
OPEN_FILES_MAX: Final = 512  # range files; up to 11 descriptors each when read by threads
# 128 MiB a file before its log is folded in. Folding seals each changed page once more, so the more
# writes share a fold the better: counted with random new 1 KB items, 1.8 pages each; 3.1 at 8,000.
WAL_PAGES_CHECKPOINT: Final = 32_000
# Of all files together; beyond it idle files close and the longest log is folded in.
WAL_BYTES_SUM_MAX: Final = 2_048 * MIB
FREE_DISK_BYTES_MIN: Final = 512 * MIB  # below it writes get 507; room for every checkpoint due
FILE_IDLE_S: Final = 300.0  # a file nobody used for so long is closed
# Before a node tells of a range that nobody else knows of; only an operator ever discards it.
UNKNOWN_RANGE_GRACE_S: Final = 3_600
# 7 days: a weekend and more, to notice that the wrong node.db was restored.
ORPHAN_GRACE_S: Final = 7 * 24 * 3_600

# ---------------------------------------------------------------------------------- the topology

COORDINATOR_TIMEOUT_S: Final = 5.0  # of one call, unless its caller says otherwise
COORDINATOR_KEY_BYTES_MAX: Final = 2_048  # the longest path: two UUIDs and two 255-letter names
COORDINATOR_REQUEST_BYTES_MAX: Final = 1 * MIB  # keys and values of one write; etcd takes 1.5 MiB
COORDINATOR_PAGE_KEYS: Final = 1_000  # read at a time; a page of 1 KB values is 1 MB
TRANSACTION_OPERATIONS_MAX: Final = 128  # compares, or operations of one branch; etcd's default
LEASE_TTL_S_MAX: Final = 3_600  # a lease outlives its holder by so much at the most
URI_CHARS_MAX: Final = 512  # of a component's address: a scheme, a DNS name (253), a port, a path
RANGE_REPLICAS_MAX: Final = 9  # of one range: a factor of 5 and learners beside it
NOTICE_DETAILS_CHARS_MAX: Final = 4 * KIB
TOPOLOGY_PROBLEMS_SHOWN: Final = 100  # bad values that `status` lists; all of them are counted
TOPOLOGY_REPLICA_SETS_SHARED: Final = 10_000  # different ones kept as one object each, ~1 KiB
TOPOLOGY_TURN_EVENTS: Final = 64  # folded or told of before others have the loop; ~3 ms
TOPOLOGY_RETRY_S: Final = 1.0  # after the coordinator refused to be watched
TOPOLOGY_SILENCE_S: Final = 15.0  # of the coordinator, before `status` speaks of it
TOPOLOGY_DOUBTED_S: Final = 6.0  # the same, before it is no ground to stop a node: three probes
# Between two copies of the view on the disk: at least so long, and so many times what one takes.
TOPOLOGY_COPY_INTERVAL_S: Final = 5.0
TOPOLOGY_COPY_REST: Final = 20
TOPOLOGY_COPY_BYTES_MAX: Final = 1_024 * MIB  # of one file; a million tables have 700 MiB
TOPOLOGY_COPY_BLOCK_BYTES: Final = 512 * KIB  # sealed at a time, and one value more
TOPOLOGY_SUBSCRIBERS_MAX: Final = 64  # callbacks of one process
LEASE_TTL_S: Final = 5  # of a node's life and of the leadership
# Of a lease that its holder no longer relies on: clocks that differ by 1 %, counted twice, of 5 s,
# and 0.4 s of a stalled process.
LEASE_MARGIN_S: Final = 0.5
LEASE_RENEWALS: Final = 3  # tries within a lease's time
# Of the connection to etcd, whose servers allow a ping every 5 s (--grpc-keepalive-min-time).
ETCD_PING_S: Final = 10.0  # and 3 s for its answer, while any call or watch is open
ETCD_PING_TIMEOUT_S: Final = 3.0
ETCD_RECONNECT_S_MIN: Final = 0.1  # doubled after each failure, half of it by chance
ETCD_RECONNECT_S_MAX: Final = 2.0
ETCD_MESSAGE_BYTES_MAX: Final = 64 * MIB  # received; a page of 1,000 values of 64 KiB
ETCD_WATCH_PROBE_S: Final = 2.0  # how often a watch asks for a sign of life
ETCD_WATCH_SILENCE_S_MAX: Final = 6.0  # three of them; then it is taken up elsewhere
WATCH_BATCHES_WAITING_MAX: Final = 64  # read ahead of a watcher; each one revision, <= 1 MiB
# Of the embedded coordinator. Who watches lags behind by milliseconds; who asks later reads anew.
EMBEDDED_HISTORY_REVISIONS_MAX: Final = 10_000
EMBEDDED_HISTORY_BYTES_MAX: Final = 16 * MIB  # of keys and values that stood and stand no more
EMBEDDED_WRITES_WAITING_MAX: Final = 1_024  # a second of work at a millisecond an fsync
EMBEDDED_LEASES_MAX: Final = 10_000
# What a watch skips in one go before others have a turn: about a millisecond.
WATCH_SKIPPED_REVISIONS_MAX: Final = 2_000

# ------------------------------------------------------------------------------------- the peers

# A payload beyond it travels in parts of this size; small calls pass between two of them. 32 KiB
# take ~10 us to seal and copy, and 0.3 ms on a 1 Gbit/s wire.
PEER_PART_BYTES: Final = 32 * KIB
PEER_FRAME_BYTES: Final = 128 * KIB  # what one frame aims at: some parts, or ~1,500 small calls
PEER_FRAME_BYTES_MAX: Final = 512 * KIB  # of a frame that is read; ours stay below half of it
PEER_FRAME_RECORDS_MAX: Final = 512  # calls or answers in one frame
PEER_RECORDS_TURN: Final = 128  # handled before others have the event loop: ~1 ms
PEER_PAYLOAD_BYTES_MAX: Final = 32 * MIB  # of one request or reply: twice a batch of AWS
PEER_FAILURE_BYTES_MAX: Final = 2 * MIB  # of one error: an item of 400 KiB in wire form, and room
PEER_CALLS_MAX: Final = 4_096  # in flight to one peer
PEER_CALLS_WAITING_MAX: Final = 4_096  # that wait for room or for the connection; beyond it refused
PEER_CALL_BYTES_MAX: Final = 64 * MIB  # of requests in flight to one peer
PEER_REPLY_BYTES_MAX: Final = 128 * MIB  # of large replies that arrive from one peer in parts
PEER_ANSWERS_MAX: Final = 8_192  # calls at work for one connection; two clients' PEER_CALLS_MAX
PEER_ANSWER_BYTES_MAX: Final = 128 * MIB  # of requests at work for one connection
PEER_SENT_BYTES_WAITING_MAX: Final = 64 * MIB  # of replies to one peer; beyond it no call is read
PEER_DEADLINE_S_MAX: Final = 3_600.0  # of one call
PEER_DEADLINE_STEP_S: Final = 0.01  # how exactly deadlines are kept
PEER_BEAT_S: Final = 1.0  # who has said nothing for so long says that it lives
PEER_SILENT_BEATS_MAX: Final = 4  # without a frame, or with one that nobody takes: 4 to 5 s
PEER_DIAL_TIMEOUT_S: Final = 5.0  # from the first packet to the end of the greeting
PEER_GREETING_TIMEOUT_S: Final = 5.0  # for the client's greeting
PEER_CLOSE_TIMEOUT_S: Final = 1.0  # for the other side to agree to the end
PEER_LEAVE_S: Final = 1.0  # for callers to leave by themselves who were asked to
PEER_BACKOFF_S_MIN: Final = 0.05  # before a second attempt, doubled up to ..._MAX, with jitter
PEER_BACKOFF_S_MAX: Final = 5.0
PEER_STEADY_S: Final = 5.0  # a connection that lasted so long is replaced without waiting
PEER_UPGRADE_BYTES_MAX: Final = 16 * KIB  # of the head that answers an upgrade to WebSocket
PEER_SOCKET_BYTES_MAX: Final = 256 * KIB  # handed to the system and not sent; then frames wait
PEER_REASON_BYTES_MAX: Final = 123  # RFC 6455 5.5: a control frame has 125, two of them the code

# ---------------------------------------------------------------------------- control's own store

CONTROL_TRANSACTION_TIMEOUT_S: Final = 10.0  # the wait for the turn and the commit included
CONTROL_CONNECT_TIMEOUT_S: Final = 5.0  # to PostgreSQL, TLS and password included
CONTROL_READERS_MAX: Final = 4  # snapshots at a time; with the one writer, PostgreSQL's connections
CONTROL_WAITING_MAX: Final = 256  # transactions that wait for a turn; at ~3 ms each under a second
CONTROL_PAGE_MAX: Final = 1_000  # rows read at a time, ~1 KB each
CONTROL_PAGE_CACHE_BYTES: Final = 4 * MIB  # of control's store, where it lies in the vault
TOGETHER_START_S: Final = 30.0  # for each step of a start of all roles in one process
CONTROL_BUSY_TIMEOUT_MS: Final = 5_000  # for another process that writes the same SQLite file
WORKERS_MAX: Final = 64  # processes of one proxy; beyond a machine's cores they help nobody
RANGES_PER_TABLE_MAX: Final = 1_000  # read at once, as a page of them is
OUTBOX_BATCH_MAX: Final = 100  # published together; an etcd transaction has room for more
AUDIT_TEXT_CHARS_MAX: Final = 4 * KIB  # of one field of an entry
NOTICES_KEPT: Final = 10_000  # the newest ones

# ---------------------------------------------------------------------------- control's decisions

RANGES_PER_TABLE_DEFAULT_MAX: Final = 8  # of a new table; fewer on fewer nodes: one each
# How many replicas a range of a new table has unless cluster or table are set otherwise; fewer on
# fewer nodes. The setting `replication_factor` has this default.
REPLICATION_FACTOR_DEFAULT: Final = 3
REPLICATION_FACTOR_MAX: Final = 5  # below RANGE_REPLICAS_MAX: those that take over learn beside it
CREATION_GRACE_S: Final = 10.0  # a new table that works already waits so long for its last replicas
TABLE_VALUE_BYTES_MAX: Final = 384 * KIB  # of a definition in the coordinator; ~100 KiB at most
PUBLISHED_WRITES_MAX: Final = 120  # in one of the coordinator's transactions; its own bound is 128
PUBLISHED_BYTES_MAX: Final = 512 * KIB  # the same in bytes, but for a batch that has more by itself
PUBLISH_IDLE_S: Final = 1.0  # between two looks at the outbox when nobody says that there is more
PUBLISH_WAITERS_MAX: Final = 1_024  # requests that wait for their change to be published
VISIBLE_TIMEOUT_S: Final = 5.0  # for a change to be published, before its outcome is unknown
SETTLED_TIMEOUT_S: Final = 4.0  # for nodes to take a table on or let go of it, before the answer
LEADER_RETRY_S: Final = 2.0  # before a leader that can't begin its work tries again
OBSERVER_INTERVAL_S: Final = 1.0  # between two looks at what nodes say, if nothing changes
OBSERVED_AT_ONCE: Final = 50  # tables whose creation ends in one transaction
TASKS_AT_ONCE: Final = 8
TASK_IDLE_S: Final = 1.0  # between two looks at the tasks that are due
TASK_RETRY_S_MIN: Final = 1.0  # doubled with each attempt
TASK_RETRY_S_MAX: Final = 60.0
TASK_WAIT_S: Final = 20.0  # that a task stays with what it waits for before it is queued again
TASK_LOOK_S: Final = 0.5  # the same, once it has waited in vain
TASKS_KEPT_S: Final = 7 * DAY_S  # of those that ended
NOTICES_AT_ONCE: Final = 100  # taken over in one transaction

# ---------------------------------------------------------------------------- moving replicas

PLAN_UNEVEN_PERCENT: Final = 5  # that a node may have more or less than its part: half of 10 %
PLAN_REPLICA_BYTES: Final = 1 * MIB  # that a replica weighs beside what it stores
# A primary weighs what its range is asked a second, and so much besides, so that ranges that nobody
# asks for spread by their number; and small differences between those that are asked do not count.
PLAN_PRIMARY_REQUESTS: Final = 50
PLAN_UNEVEN_REQUESTS_PERCENT: Final = 25  # of a node's part of all requests, that stays as it is
REASONS_SHOWN: Final = 10  # against stopping a node
TROUBLED_RANGES_SHOWN: Final = 100  # of a table that is described; all of them are counted
PLAN_TOKEN_CHARS: Final = 16  # of 4 bits: enough to tell a plan from the one before
PLAN_CHANGES_MAX: Final = 256  # in one plan; the rest comes when these are done
MOVES_AT_ONCE: Final = 8  # ranges whose replicas change at the same time, over all nodes
MOVES_PLANNED: Final = 32  # changes of a kind in the plan of which those are taken
MOVES_ONTO_NODE: Final = 2  # replicas that one node learns at the same time
MOVES_INTERVAL_S: Final = 5.0  # between two looks at what is to be moved, if nothing changes
MOVES_PAUSE_S: Final = 0.2  # the same, if something does
MOVES_LEAVING_MAX: Final = 1_000  # replicas that are looked at on their way out
MOVES_FOLLOWED_S: Final = 2.0  # between two looks at how far they are, which are written down
MOVES_PACE_S: Final = 60.0  # over which their pace is measured
MOVE_HAND_OVER_S: Final = 5.0  # for a primary to hand over, in answer to control
REPLACED_AFTER_S: Final = 600.0  # that a node is gone before its replicas are made anew elsewhere

# ---------------------------------------------------------------------------- joining, and control

JOIN_BODY_BYTES_MAX: Final = 32 * KIB  # of a request to join: a request for a certificate, a token
JOIN_ANSWER_BYTES_MAX: Final = 128 * KIB  # a certificate and AUTHORITIES_MAX authorities
JOIN_TIMEOUT_S: Final = 15.0  # of one attempt at one control; its store may take 10 s
JOIN_PATIENCE_S: Final = 60.0  # for controls to come up, before a component gives up its start
JOINS_AT_ONCE_MAX: Final = 8  # at one control; a certificate costs it ~1 ms and a transaction
JOIN_REFUSALS_PER_MINUTE_MAX: Final = 60  # of one address at one control; then it has to wait
JOIN_ADDRESSES_COUNTED_MAX: Final = 1_000  # one by one in a minute; all others together
CONTROLS_MAX: Final = 64  # control processes of a plane that a component is told of
REMOVED_TOLD_MAX: Final = 10_000  # removed components, of all roles, that others are told of
REMOVED_BARRED_MAX: Final = 1_000_000  # of each role, kept out by control itself
TENANT_SHARES_ASKED_MAX: Final = 1_000  # tenants in one question
CREDENTIALS_PAGE_MAX: Final = 1_000  # access keys and tokens in one answer, ~450 bytes each
CREDENTIALS_STATE_BYTES: Final = 32
CREDENTIALS_CHANGES_MAX: Final = 1_000  # remembered by control; who is further behind reads anew
CREDENTIALS_POLL_S: Final = 1.0  # of a proxy: with a reading every second, revoked within 5 s
CREDENTIALS_ANSWER_S: Final = 2.0  # of one question; half of it for each of two controls
CREDENTIALS_FRESH_S: Final = 0.5  # for so long control answers without a look at its store
MEMBERS_POLL_S: Final = 2.0  # of every component: who is removed ends within seconds
MEMBERS_AT_START_S: Final = 1.0  # that a start waits for control, which may be away
CONTROL_ANSWER_S: Final = 10.0  # for what a component can't do without: a key, a certificate
MEMBERS_FRESH_S: Final = 1.0  # for so long control answers without a look at its store
RENEWAL_LOOK_S: Final = 60.0  # between two looks whether a certificate has to be renewed
ASSIGNMENTS_AT_ONCE: Final = 16  # tables that a node brings to what they should be, side by side
NOTICE_REPEAT_S: Final = 3_600  # a node says the same again after so long
NOTICES_WAITING_MAX: Final = 256  # of a node, until the coordinator has them; the log has them all
DETAILS_LOOK_S: Final = 1.0  # how often a node looks whether what it says of itself has changed
TABLES_MEASURED: Final = 64  # whose sizes a node looks at before others have the loop
TABLES_MEASURED_S: Final = 10.0  # between two rounds over all of them
# How often ranges are asked is averaged over about three rounds, and told in steps of an eighth.
HEAT_NEWEST_PERCENT: Final = 40  # that the latest round counts in the average
HEAT_STEPS_DOUBLING_BITS: Final = 3  # eight steps between a rate and its double
HEAT_TOLD_PERCENT: Final = 25  # that a rate is away from the one told before another one is
HEAT_TOLD_REQUESTS: Final = 10  # the same in requests a second: less is not spoken of
OWN_KEYS_LAST_S: Final = 1.0  # that a node takes to say that it is about to stop
DEPARTURE_PART: Final = 0.8  # of the time to drain, to hand ranges over before nothing new is taken
DEPARTURES_AT_ONCE: Final = 16  # ranges handed over by a node that stops; heirs open eight each
DEPARTURE_LOOK_S: Final = 0.05  # between two looks at what a node that stops is still needed for
DEPARTURE_PAUSE_S: Final = 0.5  # the same, if nobody took a range
DEPARTURE_LAST_S: Final = 1.0  # for primaries to go on without its replicas: two heartbeats
RETREAT_PAUSE_S: Final = 5.0  # before a damaged range that nobody took is offered again
REWRITE_LOOK_S: Final = 60.0  # between two looks for files that have to be written anew
CONTROL_CALL_TRY_S_MIN: Final = 0.5  # left to each control that is tried, of the caller's deadline
CONTROL_RETRY_S: Final = 0.2  # between two rounds over all controls, up to the caller's deadline

# ----------------------------------------------------------------------------------- the process

ENTROPY_BYTES_MAX: Final = 1 * MIB  # of one request for randomness; a key needs 32
SIGV4_SKEW_S: Final = 900  # AWS's 15 min
LOOP_LAG_MS_MAX: Final = 100  # no request may stall the event loop longer; tests hold it to that
LOG_TEXT_CHARS_MAX: Final = 1_024  # of one value in a log line; longer ones are cut
LOG_VALUES_MAX: Final = 64  # of one list or map in a log line
