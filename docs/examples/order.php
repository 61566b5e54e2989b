<?php
// An order page: the order, what is left in stock, and the event that shows it on every open page are ONE transaction in the
// database of siolite. If anything fails, none of them has happened. docs/php.md says what it needs.
//
//     SHOP_DATABASE=/var/lib/siolite/siolite.db      in the environment of PHP
//     GET                                            the page
//     POST item=tea&n=2                              an order
//     php order.php tea 2                            an order, from a cron job for example
//
// SPDX-License-Identifier: MIT

declare(strict_types=1);

function open_database(): PDO
{
    $db = new PDO('sqlite:' . (getenv('SHOP_DATABASE') ?: 'run/siolite.db'), null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $db->exec('PRAGMA busy_timeout = 10000');    // somebody else writes: wait, up to 10 s
    $db->exec('PRAGMA trusted_schema = ON');     // the views' triggers use JSON functions
    if (!$db->query("SELECT 1 FROM sqlite_master WHERE name = 'shop_stock'")->fetch()) {
        $db->exec("BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS shop_order (order_id INTEGER PRIMARY KEY, item TEXT NOT NULL, n INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS shop_stock (item TEXT PRIMARY KEY, n_left INTEGER NOT NULL CHECK (n_left >= 0));
            INSERT OR IGNORE INTO shop_stock VALUES ('tea', 10), ('coffee', 5);
            COMMIT");
    }
    return $db;
}

function order(PDO $db, string $item, int $n): int
{
    $db->exec('BEGIN IMMEDIATE');                // beginTransaction() would lock at the first write only
    try {
        $db->prepare('INSERT INTO shop_order (item, n) VALUES (?, ?)')->execute([$item, $n]);
        $id = (int) $db->lastInsertId();         // before the next INSERT: one into a view leaves no id
        $db->prepare("INSERT INTO emit (event, args) VALUES ('order', ?)")
            ->execute([json_encode([['id' => $id, 'item' => $item, 'n' => $n]], JSON_THROW_ON_ERROR)]);
        $stock = $db->prepare('UPDATE shop_stock SET n_left = n_left - ? WHERE item = ?');
        $stock->execute([$n, $item]);            // fails by the CHECK if there are not so many
        if ($stock->rowCount() === 0) {
            throw new DomainException("there is no $item");
        }
        $db->exec('COMMIT');                     // now it is an order, and the pages hear of it
        return $id;
    } catch (Throwable $e) {
        try {
            $db->exec('ROLLBACK');
        } catch (PDOException) {
            // SQLite has done it already: the disk was full, for example
        }
        throw $e;
    }
}

function say(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES);
}

if (PHP_SAPI === 'cli') {
    echo 'order ', order(open_database(), $argv[1], (int) $argv[2]), "\n";
    exit;
}

$db = open_database();
$said = '';
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $item = (string) ($_POST['item'] ?? '');
    $n = filter_var($_POST['n'] ?? '', FILTER_VALIDATE_INT, ['options' => ['min_range' => 1, 'max_range' => 100]]);
    try {
        $said = $n === false ? 'How many?' : 'Order ' . order($db, $item, $n) . ': thank you.';
        http_response_code($n === false ? 400 : 200);
    } catch (PDOException | DomainException $e) {
        http_response_code(409);
        $said = 'Not ordered: ' . $e->getMessage();
    }
}
?>
<!doctype html>
<meta charset="utf-8">
<title>Orders</title>
<p><?= say($said) ?></p>
<form method="post">
    <select name="item">
<?php foreach ($db->query('SELECT item, n_left FROM shop_stock ORDER BY item') as $row) { ?>
        <option value="<?= say($row['item']) ?>"><?= say("{$row['item']}, {$row['n_left']} left") ?></option>
<?php } ?>
    </select>
    <input name="n" value="1" size="3">
    <button>Order</button>
</form>
<ul id="orders">
<?php foreach ($db->query('SELECT order_id, item, n FROM shop_order ORDER BY order_id DESC LIMIT 20') as $row) { ?>
    <li><?= say("$row[order_id]: $row[n] $row[item]") ?></li>
<?php } ?>
</ul>
<script src="/socket.io/socket.io.js"></script>
<script>
    io().on('order', ({ id, item, n }) => {
        const line = document.createElement('li');
        line.textContent = `${id}: ${n} ${item}`;
        document.getElementById('orders').prepend(line);
    });
</script>
