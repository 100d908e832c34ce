JOB = "job-0"
