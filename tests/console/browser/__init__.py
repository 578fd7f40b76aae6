"""The console in a real browser. Where there is none, these tests are skipped: `apt-get install chromium` brings one."""
