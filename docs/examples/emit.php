<?php // SPDX-License-Identifier: MIT: shows a headline to everybody in the lobby. php emit.php run/siolite.db "hello"
$db = new PDO('sqlite:' . $argv[1], null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$emit = $db->prepare("INSERT INTO emit(nsp, room, event, args) VALUES ('/', 'lobby', 'headline', ?)");
$emit->execute([json_encode([$argv[2]])]);
