-- Nobody ever said of a notice that it was seen; the status counts those of the last day.
ALTER TABLE notice DROP COLUMN seen_at_us;
