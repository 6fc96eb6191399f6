-- 1 while an operator wants no replica to be moved, else 0.
INSERT INTO counter (name, last) VALUES ('moves_paused', 0) ON CONFLICT DO NOTHING;
