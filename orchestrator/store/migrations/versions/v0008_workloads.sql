-- What a restore is asked for in the words of its workload, such as the moment that a database is to come back to.
ALTER TABLE job ADD COLUMN options jsonb NOT NULL DEFAULT '{}';

-- Any moment between these two can be brought back from a point, where its source allows that.
ALTER TABLE recovery_point ADD COLUMN moments_from timestamptz, ADD COLUMN moments_until timestamptz,
    ADD CHECK (moments_from <= moments_until), ADD CHECK ((moments_from IS NULL) = (moments_until IS NULL));
