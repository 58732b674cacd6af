@echo off
rem For a double click: runs install.ps1, which says what it will do and asks.
powershell -NoProfile -ExecutionPolicy Bypass -File "%~dp0install.ps1" %*
pause
