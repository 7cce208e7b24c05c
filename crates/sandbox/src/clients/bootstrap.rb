# The runtime client for Ruby: takes invocations from the Runtime API and gives them to the handler.

require 'json'
require 'socket'

TASK_ROOT = ENV.fetch('LAMBDA_TASK_ROOT')
HOST, PORT = ENV.fetch('AWS_LAMBDA_RUNTIME_API').split(':')
$stdout.sync = true

class RuntimeApi
  def initialize
    @socket = TCPSocket.new(HOST, PORT.to_i)
    @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
  end

  def request(method, path, body = '', headers = {})
    head = +"#{method} /2018-06-01/runtime/#{path} HTTP/1.1\r\nHost: #{HOST}:#{PORT}\r\n"
    headers.each { |name, value| head << "#{name}: #{value}\r\n" }
    head << "Content-Length: #{body.bytesize}\r\n\r\n"
    @socket.write(head.b + body.b)
    status = @socket.gets("\r\n").to_s.split(' ')[1].to_i
    answered = {}
    while (line = @socket.gets("\r\n")) && line != "\r\n"
      name, value = line.chomp("\r\n").split(':', 2)
      answered[name.downcase] = value.strip
    end
    [status, answered, @socket.read(answered['content-length'].to_i)]
  end
end

class LambdaContext
  attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
              :memory_limit_in_mb, :function_version, :identity, :client_context, :deadline_ms

  def initialize(headers)
    @aws_request_id = headers['lambda-runtime-aws-request-id']
    @invoked_function_arn = headers['lambda-runtime-invoked-function-arn']
    @deadline_ms = headers['lambda-runtime-deadline-ms'].to_i
    @client_context = parsed(headers['lambda-runtime-client-context'])
    @identity = parsed(headers['lambda-runtime-cognito-identity'])
    @log_group_name = ENV['AWS_LAMBDA_LOG_GROUP_NAME']
    @log_stream_name = ENV['AWS_LAMBDA_LOG_STREAM_NAME']
    @function_name = ENV['AWS_LAMBDA_FUNCTION_NAME']
    @memory_limit_in_mb = ENV['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']
    @function_version = ENV['AWS_LAMBDA_FUNCTION_VERSION']
  end

  def get_remaining_time_in_millis
    [0, @deadline_ms - (Process.clock_gettime(Process::CLOCK_REALTIME) * 1000).to_i].max
  end

  private

  def parsed(text)
    JSON.parse(text) if text
  end
end

def failure(error, kind)
  { 'errorMessage' => error.message, 'errorType' => "Function<#{kind}>", 'stackTrace' => error.backtrace || [] }
end

def load_handler
  file, *names = ENV.fetch('_HANDLER').split('.')
  raise ArgumentError, "Invalid handler #{ENV.fetch('_HANDLER')}, must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD." if names.empty?

  $LOAD_PATH.unshift(TASK_ROOT, '/opt/ruby/lib')
  require File.join(TASK_ROOT, file)
  method = names.pop
  target = names.empty? ? self : Kernel.const_get(names.join('::'))
  ->(event, context) { target.send(method, event: event, context: context) }
end

api = RuntimeApi.new
json = { 'Content-Type' => 'application/json' }
Dir.chdir(TASK_ROOT)
begin
  handler = load_handler
rescue Exception => error # a function may raise anything while it loads
  value = failure(error, error.class).merge('errorType' => "Init<#{error.class}>")
  puts JSON.generate(value)
  api.request('POST', 'init/error', JSON.generate(value), json.merge('Lambda-Runtime-Function-Error-Type' => value['errorType']))
  exit!(1)
end

loop do
  status, headers, body = api.request('GET', 'invocation/next')
  exit!(1) unless status == 200
  id = headers['lambda-runtime-aws-request-id']
  ENV['_X_AMZN_TRACE_ID'] = headers['lambda-runtime-trace-id']
  begin
    answer = JSON.generate(handler.call(JSON.parse(body), LambdaContext.new(headers)))
    api.request('POST', "invocation/#{id}/response", answer, json)
  rescue SystemExit
    raise
  rescue Exception => error # as AWS's client does
    value = failure(error, error.class)
    puts "Error raised from handler method\n#{JSON.generate(value)}"
    api.request('POST', "invocation/#{id}/error", JSON.generate(value), json.merge('Lambda-Runtime-Function-Error-Type' => value['errorType']))
  end
end
