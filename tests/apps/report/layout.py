TITLE = "report-0"
