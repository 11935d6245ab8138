# A formula for a tap: `brew install alle-rs/tap/alle`.
class Alle < Formula
  desc "WebSocket clients on PostgreSQL LISTEN/NOTIFY"
  homepage "https://github.com/alle-rs/alle"
  license "MIT"
  head "https://github.com/alle-rs/alle.git", branch: "main"

  depends_on "cmake" => :build
  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args
    (man1/"alle.1").write Utils.safe_popen_read(bin/"alle", "help", "man")
    generate_completions_from_executable(bin/"alle", "help", "completions")
  end

  service do
    run [opt_bin/"alle", "serve"]
    keep_alive true
    log_path var/"log/alle.log"
    error_log_path var/"log/alle.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/alle --version")
    assert_match "open: whoever reaches", shell_output("#{bin}/alle check -w 0.0.0.0:8080")
  end
end
