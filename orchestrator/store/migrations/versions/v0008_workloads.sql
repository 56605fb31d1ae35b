-- What a restore is asked for in the words of its workload, such as the moment that a database is to come back to.
ALTER TABLE job ADD COLUMN options jsonb NOT NULL DEFAULT '{}';
