// A session with AWS's SDK for JavaScript v3; javascript.py runs it. Endpoint, region and key come
// from the AWS_* variables, as a user has them. Each step prints a line; the first that is wrong
// ends the session with exit code 1.

const assert = require('node:assert/strict')
const zlib = require('node:zlib')
const { Readable } = require('node:stream')
const { NodeHttpHandler } = require('@smithy/node-http-handler')
const ddb = require('@aws-sdk/client-dynamodb')
const doc = require('@aws-sdk/lib-dynamodb')

const TABLE = `Orders-${Date.now()}`
const ORDERS = 25
let answers = 0

// The SDK no longer compares an answer with its CRC32, so the session does, for every answer.
class CheckingHandler extends NodeHttpHandler {
  async handle (request, options) {
    const { response } = await super.handle(request, options)
    const body = Buffer.concat(await response.body.toArray())
    assert.equal(response.headers['x-amz-crc32'], String(zlib.crc32(body)))
    assert.match(response.headers['x-amzn-requestid'], /^[A-Z0-9=]{52}$/)
    assert.equal(response.headers['content-type'], 'application/x-amz-json-1.0')
    response.body = Readable.from([body])
    answers += 1
    return { response }
  }
}

// One attempt only: a retry would hide what failed first.
const client = new ddb.DynamoDBClient({ maxAttempts: 1, requestHandler: new CheckingHandler() })
const documents = doc.DynamoDBDocumentClient.from(client, {
  marshallOptions: { removeUndefinedValues: true }
})
const waiting = { client, maxWaitTime: 30, minDelay: 1, maxDelay: 1 }

const order = (number) => ({ customer: `c-${number % 5}`, number, total: number * 1.25 })

async function step (name, run) {
  await run()
  console.log(`ok  ${name}`)
}

async function fails (promise, type, check = () => {}) {
  const error = await promise.then(() => assert.fail('it succeeded'), (caught) => caught)
  if (typeof type === 'string') assert.equal(error.name, type, error)
  else assert.ok(error instanceof type, error)
  assert.ok(error instanceof ddb.DynamoDBServiceException, error)
  assert.equal(error.$metadata.httpStatusCode, 400)
  assert.equal(error.$metadata.requestId.length, 52)
  assert.equal(error.$fault, 'client')
  check(error)
}

async function collected (pages, member) {
  const all = []
  let count = 0
  for await (const page of pages) {
    all.push(...page[member])
    count += 1
  }
  return [all, count]
}

async function tables () {
  await step('CreateTable, and the waiter of its readiness', async () => {
    const { TableDescription: made } = await client.send(new ddb.CreateTableCommand({
      TableName: TABLE,
      AttributeDefinitions: [
        { AttributeName: 'customer', AttributeType: 'S' },
        { AttributeName: 'number', AttributeType: 'N' }
      ],
      KeySchema: [
        { AttributeName: 'customer', KeyType: 'HASH' },
        { AttributeName: 'number', KeyType: 'RANGE' }
      ],
      BillingMode: 'PAY_PER_REQUEST'
    }))
    assert.equal(made.TableStatus, 'CREATING')
    assert.ok(made.CreationDateTime instanceof Date)
    const waited = await ddb.waitUntilTableExists(waiting, { TableName: TABLE })
    assert.equal(waited.state, 'SUCCESS')
  })
  await step('ListTables by its paginator', async () => {
    const pages = ddb.paginateListTables({ client, pageSize: 1 }, {})
    assert.ok((await collected(pages, 'TableNames'))[0].includes(TABLE))
  })
  await step('tags', async () => {
    const { Table } = await client.send(new ddb.DescribeTableCommand({ TableName: TABLE }))
    const ResourceArn = Table.TableArn
    const Tags = [{ Key: 'team', Value: 'sales' }]
    await client.send(new ddb.TagResourceCommand({ ResourceArn, Tags }))
    const listed = await client.send(new ddb.ListTagsOfResourceCommand({ ResourceArn }))
    assert.deepEqual(listed.Tags, Tags)
    await client.send(new ddb.UntagResourceCommand({ ResourceArn, TagKeys: ['team'] }))
  })
}

const RICH = {
  customer: 'rich',
  number: -12.5,
  text: 'naïve 東京 🙂',
  empty: '',
  nothing: null,
  yes: true,
  big: 12345678901234567890123456789012345678n,
  bytes: new Uint8Array([0, 1, 254, 255]),
  names: new Set(['a', 'b']),
  numbers: new Set([1, 2.5]),
  nested: { list: [1, 'two', { three: [false, null] }], map: {} }
}
const RICH_KEY = { customer: RICH.customer, number: RICH.number }

async function items () {
  await step('the document client keeps every type', async () => {
    await documents.send(new doc.PutCommand({ TableName: TABLE, Item: { ...RICH, gone: undefined } }))
    const get = new doc.GetCommand({ TableName: TABLE, Key: RICH_KEY, ConsistentRead: true })
    const { Item } = await documents.send(get)
    assert.deepEqual(Item, RICH)
  })
  await step('an item that is absent has no Item', async () => {
    const Key = { customer: 'nobody', number: 0 }
    const { Item } = await documents.send(new doc.GetCommand({ TableName: TABLE, Key }))
    assert.equal(Item, undefined)
  })
  await step('UpdateCommand returns what it changed', async () => {
    const { Attributes, ConsumedCapacity } = await documents.send(new doc.UpdateCommand({
      TableName: TABLE,
      Key: RICH_KEY,
      UpdateExpression: 'SET nested.#list[0] = :new, plays = if_not_exists(plays, :zero) + :one',
      ExpressionAttributeNames: { '#list': 'list' },
      ExpressionAttributeValues: { ':new': 'one', ':zero': 0, ':one': 1 },
      ReturnValues: 'UPDATED_NEW',
      ReturnConsumedCapacity: 'TOTAL'
    }))
    assert.deepEqual(Attributes, { nested: { list: ['one'] }, plays: 1 })
    assert.deepEqual(ConsumedCapacity, { TableName: TABLE, CapacityUnits: 1 })
  })
  await step('64 clients at once add to one number', async () => {
    const add = new doc.UpdateCommand({
      TableName: TABLE,
      Key: RICH_KEY,
      UpdateExpression: 'ADD plays :one',
      ExpressionAttributeValues: { ':one': 1 },
      ReturnValues: 'UPDATED_NEW'
    })
    const all = await Promise.all(Array.from({ length: 64 }, () => documents.send(add)))
    const seen = all.map(({ Attributes }) => Attributes.plays).sort((a, b) => a - b)
    assert.deepEqual(seen, Array.from({ length: 64 }, (_, index) => index + 2))
  })
}

async function errors () {
  const { customer, number } = RICH_KEY
  const put = {
    TableName: TABLE,
    Item: { customer: { S: customer }, number: { N: String(number) } },
    ConditionExpression: 'attribute_not_exists(customer)'
  }
  await step('ConditionalCheckFailedException, without and with its Item', async () => {
    const type = ddb.ConditionalCheckFailedException
    await fails(client.send(new ddb.PutItemCommand(put)), type, (error) => {
      assert.equal(error.message, 'The conditional request failed')
      assert.equal(error.Item, undefined)
    })
    if (process.env.IS_DYNALITE) return
    const asked = { ...put, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' }
    await fails(client.send(new ddb.PutItemCommand(asked)), type, (error) => {
      assert.deepEqual(error.Item.text, { S: RICH.text })
      assert.deepEqual(error.Item.plays, { N: '65' })
    })
  })
  await step('ResourceNotFoundException', async () => {
    const get = new doc.GetCommand({ TableName: 'absent', Key: RICH_KEY })
    await fails(documents.send(get), ddb.ResourceNotFoundException, (error) => {
      assert.equal(error.message, 'Requested resource not found')
    })
  })
  await step('ValidationException', async () => {
    const get = new doc.GetCommand({ TableName: TABLE, Key: { customer } })
    await fails(documents.send(get), 'ValidationException', (error) => {
      assert.equal(error.message, 'The provided key element does not match the schema')
    })
  })
  if (process.env.IS_DYNALITE) return
  await step('a wrong secret, an unknown key', async () => {
    const key = process.env.AWS_ACCESS_KEY_ID
    for (const [accessKeyId, name] of [
      [key, 'InvalidSignatureException'], ['AKIAIOSFODNN7EXAMPLE', 'UnrecognizedClientException']
    ]) {
      const credentials = { accessKeyId, secretAccessKey: 'wrong' }
      const other = new ddb.DynamoDBClient({ maxAttempts: 1, credentials })
      await fails(other.send(new ddb.ListTablesCommand({})), name)
      other.destroy()
    }
  })
}

async function pages () {
  await step('BatchWriteCommand and BatchGetCommand', async () => {
    const puts = Array.from({ length: ORDERS }, (_, n) => ({ PutRequest: { Item: order(n) } }))
    const write = new doc.BatchWriteCommand({ RequestItems: { [TABLE]: puts } })
    assert.deepEqual((await documents.send(write)).UnprocessedItems, {})
    const Keys = [order(3), order(4)].map(({ customer, number }) => ({ customer, number }))
    const get = new doc.BatchGetCommand({ RequestItems: { [TABLE]: { Keys } } })
    const found = (await documents.send(get)).Responses[TABLE]
    assert.deepEqual(found.sort((a, b) => a.number - b.number), [order(3), order(4)])
  })
  await step('paginateQuery walks to the end, both ways', async () => {
    for (const ScanIndexForward of [true, false]) {
      const [found, count] = await collected(doc.paginateQuery({ client: documents, pageSize: 2 }, {
        TableName: TABLE,
        KeyConditionExpression: 'customer = :c AND #n > :n',
        ExpressionAttributeNames: { '#n': 'number' },
        ExpressionAttributeValues: { ':c': 'c-1', ':n': 1 },
        ScanIndexForward
      }), 'Items')
      const numbers = ScanIndexForward ? [6, 11, 16, 21] : [21, 16, 11, 6]
      assert.deepEqual(found.map(({ number }) => number), numbers)
      assert.ok(count >= 2)
    }
  })
  await step('paginateScan in parallel segments, with a filter', async () => {
    const segments = await Promise.all([0, 1, 2].map((Segment) => collected(
      doc.paginateScan({ client: documents, pageSize: 3 }, {
        TableName: TABLE,
        Segment,
        TotalSegments: 3,
        FilterExpression: 'attribute_exists(#t)',
        ExpressionAttributeNames: { '#t': 'total' }
      }), 'Items')))
    const numbers = segments.flatMap(([found]) => found.map(({ number }) => number))
    assert.deepEqual(numbers.sort((a, b) => a - b), Array.from({ length: ORDERS }, (_, n) => n))
  })
}

async function end () {
  await step('DeleteItem returns the old item', async () => {
    const { Attributes } = await documents.send(new doc.DeleteCommand({
      TableName: TABLE, Key: { customer: 'c-0', number: 0 }, ReturnValues: 'ALL_OLD'
    }))
    assert.deepEqual(Attributes, order(0))
  })
  await step('DeleteTable, and the waiter of its end', async () => {
    await client.send(new ddb.DeleteTableCommand({ TableName: TABLE }))
    const waited = await ddb.waitUntilTableNotExists(waiting, { TableName: TABLE })
    assert.equal(waited.state, 'SUCCESS')
  })
}

async function main () {
  for (const part of [tables, items, errors, pages, end]) await part()
  client.destroy()
  console.log(`every step was right, and the CRC32 of ${answers} answers`)
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
