-- Grows with every change of access keys and tokens: who hands them out sees when to look anew.
INSERT INTO counter (name, last) VALUES ('credentials', 0);
