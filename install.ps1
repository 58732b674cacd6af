# Installs Velatura for you alone, without administrator rights, from the folder that this file is in:
#
#   1. finds a Python from 3.11 to 3.14; if there is none, it asks, and uv (https://docs.astral.sh/uv) downloads one;
#   2. hands over to installer\, which says what it will do, asks, and checks each package by its SHA-256.
#
# Double-click install.cmd, or in PowerShell: powershell -ExecutionPolicy Bypass -File install.ps1
# Options: --yes (ask nothing)  --to FOLDER  --outputs FOLDER  --torch cu130
# What is installed where, updates and uninstalling: docs\install.md

$ErrorActionPreference = "Stop"
$ProgressPreference = "SilentlyContinue"

$UvVersion = "0.13.9"
$PythonVersion = "3.13"
# The SHA-256 that PyPI had for each file of uv when $UvVersion was set.
$UvFiles = @{
    "AMD64" = @("win_amd64", "6a44b2ed8111d2f60d2b92627c5dccda3f7ed7570b18ce115e569cd68c28246b")
    "ARM64" = @("win_arm64", "eeb92051c2123b9730c46b04cc843cfa4bc7d7b0aec56df431a2215ef4cb0273")
}

$Here = $PSScriptRoot
$Root = Join-Path $env:LOCALAPPDATA "Velatura"
$Yes = $args -contains "--yes"
for ($i = 0; $i -lt $args.Count - 1; $i++) {
    if ($args[$i] -eq "--to") { $Root = $args[$i + 1] }
}

function Stop-WithMessage($Message) {
    Write-Host ""
    Write-Host $Message
    exit 1
}

# The full path of a Python if it has the right age, 64 bits, and can make environments.
function Test-Python($Command, $Options) {
    $code = "import sys, venv, ensurepip; print(sys.executable) if (3, 11) <= sys.version_info[:2] <= (3, 14) and sys.maxsize > 2**32 else None"
    try {
        $path = & $Command @Options -c $code 2> $null
        if ($LASTEXITCODE -eq 0 -and $path) { return [string]$path }
    } catch { }
    return $null
}

function Find-Python {
    foreach ($version in "3.13", "3.12", "3.14", "3.11") {
        $path = Test-Python "py" @("-$version")
        if ($path) { return $path }
    }
    foreach ($name in "python", "python3") {
        $path = Test-Python $name @()
        if ($path) { return $path }
    }
    foreach ($file in Get-ChildItem -Path (Join-Path $Root "python\*\python.exe") -ErrorAction SilentlyContinue) {
        $path = Test-Python $file.FullName @()
        if ($path) { return $path }
    }
    return $null
}

function Get-File($Address, $Target) {
    try {
        Invoke-WebRequest -UseBasicParsing -Uri $Address -OutFile $Target
    } catch {
        Stop-WithMessage "$(Get-Public $Address) cannot be reached: check the network, or name a proxy (HTTPS_PROXY) or an index (PIP_INDEX_URL)."
    }
}

# An address without a login, to be printed.
function Get-Public($Address) { return $Address -replace "//[^/@]*@", "//" }

function Get-Python {
    $file = $UvFiles[$env:PROCESSOR_ARCHITECTURE]
    if (-not $file) { Stop-WithMessage "Velatura needs 64-bit Windows." }
    $name = "uv-$UvVersion-py3-none-$($file[0]).whl"
    $index = "https://pypi.org/simple"
    if ($env:PIP_INDEX_URL) { $index = $env:PIP_INDEX_URL }
    if ($env:UV_INDEX_URL) { $index = $env:UV_INDEX_URL }
    $index = $index.TrimEnd("/")
    Write-Host "No Python from 3.11 to 3.14 was found. To have one that only Velatura uses:"
    Write-Host "  1. download uv $UvVersion, 20 MB, from $(Get-Public $index)/uv/ and check that its SHA-256 is $($file[1])"
    Write-Host "  2. let uv download Python $PythonVersion, 25 MB, which it checks in the same way, into $Root\python"
    if (-not $Yes) {
        if ([Console]::IsInputRedirected) { Stop-WithMessage "There is no terminal to ask in; say --yes if you agree." }
        $answer = Read-Host "Go on? [y/N]"
        if ($answer -notmatch "^[yYjJ]") { Stop-WithMessage "Nothing was changed." }
    }
    $scratch = Join-Path ([IO.Path]::GetTempPath()) ("velatura-" + [Guid]::NewGuid())
    New-Item -ItemType Directory -Path $scratch | Out-Null
    try {
        $page = Join-Path $scratch "index"
        Get-File "$index/uv/" $page
        $pattern = 'href="([^"#]*/' + [regex]::Escape($name) + ')'
        $link = [regex]::Match((Get-Content -Raw $page), $pattern).Groups[1].Value
        if (-not $link) { Stop-WithMessage "$(Get-Public $index)/uv/ has no $name." }
        $address = [Uri]::new([Uri]"$index/uv/", $link).AbsoluteUri
        $archive = Join-Path $scratch "uv.zip"
        Get-File $address $archive
        if ((Get-FileHash -Algorithm SHA256 $archive).Hash -ne $file[1]) {
            Stop-WithMessage "$name has another SHA-256 than expected. Nothing was run."
        }
        Expand-Archive -Path $archive -DestinationPath (Join-Path $scratch "unpacked")
        $uv = Join-Path $scratch "unpacked\uv-$UvVersion.data\scripts\uv.exe"
        & $uv --no-config --cache-dir (Join-Path $scratch "cache") python install --no-bin --no-registry --install-dir (Join-Path $Root "python") $PythonVersion
        if ($LASTEXITCODE -ne 0) { Stop-WithMessage "uv could not download Python $PythonVersion, and says why above." }
    } finally {
        Remove-Item -Recurse -Force $scratch -ErrorAction SilentlyContinue
    }
}

$python = Find-Python
if (-not $python) {
    Get-Python
    $python = Find-Python
    if (-not $python) { Stop-WithMessage "The Python that uv downloaded does not start." }
}
$env:PYTHONPATH = $Here
$env:PYTHONDONTWRITEBYTECODE = "1"
& $python -P -m installer install @args
exit $LASTEXITCODE
